"""What learners are made of: tasks, the inner loop, the outer step, guards and generators."""
