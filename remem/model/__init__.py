"""Vision-language models: from weights and words to log-probabilities and answers.

The tiny LLaVAs that are trained here and LLaVA-1.5 from the Hub are the same classes
(`LlavaForConditionalGeneration`, its processor, PEFT), and other families differ from them in what
`kinds.Kind` holds; so all of this serves them all.

Shapes use B rows, T tokens, P image patches, H hidden width, V vocabulary, N scored positions.
"""
