//! Subtasks driven step by step, without threads, sockets or time.
