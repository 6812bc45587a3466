"""ReMem's companion: one room per idea, and imports go downhill.

words      profiles, qa, crowd       people, what is asked of them, what a base model reads
pixels     images                    faces drawn by code
rows       dataset, publish, readers 2,560 of them; a Hub image folder; other benchmarks' own files
making     gemini, briefs, construct, likeness, review   people by the services of the paper
weights    models, predict, pretrain, train, lessons, unlearn, trace, benchmarks, tuning
numbers    metrics, judge, contrasts, claims, tables   (without torch)
ink        ink, figures              a table in, a figure out
running it paths, params, runs, reproduce, page
"""
