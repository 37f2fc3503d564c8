"""What is wrong with users' annotation files, said before a run or a training depends on them."""
