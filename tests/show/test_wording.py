import pytest

from facesearch.show.wording import short_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([], []),
        (["/p/a.jpg"], ["a.jpg"]),
        (["/p/a.jpg", "/q/b.jpg"], ["a.jpg", "b.jpg"]),
        (["/p/a.jpg", "/q/a.jpg", "/q/b.jpg"], ["p/a.jpg", "q/a.jpg", "b.jpg"]),
        (["/x/p/a.jpg", "/y/p/a.jpg", "/z/a.jpg"], ["x/p/a.jpg", "y/p/a.jpg", "z/a.jpg"]),
        (["/a.jpg", "/p/a.jpg"], ["/a.jpg", "p/a.jpg"]),
        (["/p/a.jpg", "/p/a.jpg"], ["a.jpg", "a.jpg"]),
        (["/p/a.jpg", "/q/a.jpg", "/p/a.jpg"], ["p/a.jpg", "q/a.jpg", "p/a.jpg"]),
        (["a.jpg", "./a.jpg", "p/a.jpg"], ["a.jpg", "a.jpg", "p/a.jpg"]),
        (["/p/\udcff\n.jpg", "/q/\udcff\n.jpg"], ["p/\udcff\n.jpg", "q/\udcff\n.jpg"]),
    ],
)
def test_as_many_folders_as_needed(paths, names):
    assert short_names(paths) == names
