return { name = "my raise" }
