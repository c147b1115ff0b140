"""The wire: messages, the sockets that publish, replay and take commands, and who may use them."""
