"""Telling those who wait that a job has moved: a doorbell, as the queue is one (docs/adr/0016).

`news` says what is told and rings on commit; `hub` keeps the connections of those who wait in a
process of the web server. The rows are the truth: news that is lost is found by looking.
"""
