return { name = "my gateway" }
