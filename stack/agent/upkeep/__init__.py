"""What goes on without being asked: the keeper, copies of images, the lease and watchdog, and making room."""
