"""Exercises that can tell which mistake you made: one spec per file in `specs/`, and the engine that checks them.

spec.py what an exercise is · catalogue.py the list of exercises · stub.py the learner's file, cut from the library's source ·
running.py one call, its outputs as arrays · plan.py all inputs of an exercise · checks.py the layers of checks · diagnosis.py
names the mistake · learner.py opens the learner's file · progress.py who has passed what · command.py, notebook.py how you use
them · mine.py trains with your code · grading/ grades a class · quality/ measures the checks. README.md says how to add one.
"""
