"""Exercises that know which mistake was made: one spec a file in `specs/`, and the engine that checks them.

spec.py what an exercise is · catalogue.py which there are · stub.py the learner's file, cut from the library · running.py
one call, its outputs as arrays · plan.py all inputs of an exercise · checks.py the layers · diagnosis.py names the mistake ·
learner.py opens the learner's file · progress.py who has passed what · command.py, notebook.py how one meets them ·
judge.py judges the suite itself. README.md says how to add an exercise.
"""
