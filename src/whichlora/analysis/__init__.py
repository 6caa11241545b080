"""From stored scores to facts and a decision.

`analyse.analyse` is the one entrance: a pure function of a plan and stored rows. It opens no file, draws its random
numbers from a fixed seed, and writes every number that is later printed into `Findings`.
"""
