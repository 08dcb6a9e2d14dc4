return { name = "my globals" }
