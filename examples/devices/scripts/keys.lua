-- Who may log in, and with what: replace all of these. crypto.randomToken() makes
-- a key; many devices belong into a database.
return {
  operator = "demo-operator",
  devices = {
    ["pump-1"] = "demo-pump-1",
    ["pump-2"] = "demo-pump-2",
    ["lamp-1"] = "demo-lamp-1",
  },
}
