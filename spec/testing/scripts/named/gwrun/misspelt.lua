return { name = "my misspelt" }
