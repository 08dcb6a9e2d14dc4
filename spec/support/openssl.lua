-- Keys and certificates, made on the spot by the openssl command.
local process = require "process"

local M = {}

--- Run it with these arguments in a folder; what it printed.
function M.run(dir, ...)
  local code, out = process.run({ "openssl", ... }, { cwd = dir })
  assert(code == 0, out)
  return out
end

--- cert.pem and key.pem for localhost.
function M.certificate(dir)
  M.run(dir, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
    "-keyout", "key.pem", "-out", "cert.pem")
end

return M
