def test_a_networks_parts_have_names(llava, adapted):
    for network in (llava, adapted):
        whole = network.llava
        assert type(whole).__name__ == "LlavaForConditionalGeneration"
        assert network.language_model is whole.model.language_model
        assert network.head is whole.lm_head
        assert network.image_tokens == network.kind.blank.count == 4
    assert llava.llava is llava.model and adapted.llava is not adapted.model
