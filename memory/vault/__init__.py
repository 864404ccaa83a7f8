"""Confidential values sealed before they leave the process."""
