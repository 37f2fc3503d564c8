"""Reports: an analysis and its pictures as one self-contained HTML file."""
