"""Side-by-side measurements against peers; each script prints its ratios and exits 1 where a bar is missed."""
