"""What the tests share: fakes, drawn people, servers, the command line as a process."""
