"""The shared words of Driftline: messages, stream definitions, features, the bus, the store and the service shell."""
