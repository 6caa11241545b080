"""An optional judge: a vision-language model asked which of two pictures is better. Never decides alone.

Asked pairwise and in both orders; answers that contradict each other are a tie, answers that are none are unscored.
Nothing here gates a rate: what it says stands beside people's votes and the metrics.
"""
