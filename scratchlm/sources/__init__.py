"""Where does text come from? Readers for every kind of file, and the documentation of this Python."""
