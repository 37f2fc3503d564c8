"""The files of the demonstration, which travel in the package, and writing them into a folder."""
