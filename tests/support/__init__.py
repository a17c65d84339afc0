"""What tests share: the program as a process, failing disks, small experiments, their results."""
