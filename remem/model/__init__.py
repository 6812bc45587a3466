"""Vision-language models: from weights and words to log-probabilities and answers.

LLaVA-1.5 from the Hub and the tiny LLaVAs that are trained here are the same classes
(`LlavaForConditionalGeneration`, its processor, PEFT), so all of this serves both.

Shapes use B rows, T tokens, P image patches, H hidden width, V vocabulary, N scored positions.
"""
