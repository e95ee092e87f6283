"""Recording vendors: fakes of the services that avatars connect to."""
