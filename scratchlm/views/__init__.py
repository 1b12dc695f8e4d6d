"""What can be looked at or talked to? Views make no artifact."""
