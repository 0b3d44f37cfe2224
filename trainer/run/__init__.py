"""The run: the directory that a training writes, and how it is stored and read.

run              writes the directory as a whole, and opens it with checks
run_records      content of run.json and the other files, and the code and hardware that made the run
run_location     where a training works and writes its run or uploads it; settings that continue a run
"""
