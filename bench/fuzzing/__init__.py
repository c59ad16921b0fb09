"""Damaged files for the readers, made from whole ones, and a child process that reads them."""
