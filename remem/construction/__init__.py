"""People made by the services of section 6.1, filtered by face similarity and by a person."""
