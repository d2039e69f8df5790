"""The model store: cards, where weights come from, fetching, checking and importing them."""
