"""Choose few of many: farthest points, nearest neighbours."""
