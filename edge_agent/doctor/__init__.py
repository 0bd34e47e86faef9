"""What this box can run, what it lacks, and how to install that.

`examination` runs every check and gathers findings; each check is a small module with one
function that looks (`check`) and one that judges what was seen (`judge`, pure).
"""
