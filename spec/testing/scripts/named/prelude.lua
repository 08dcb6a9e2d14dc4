return { name = "my prelude" }
