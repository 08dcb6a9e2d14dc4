-- Keys and certificates, made on the spot by the openssl command.
local process = require "process"

local M = {}

--- Run it with these arguments in a folder; what it printed.
function M.run(dir, ...)
  local code, out = process.run({ "openssl", ... }, { cwd = dir })
  assert(code == 0, out)
  return out
end

--- cert.pem and key.pem for localhost, or with other names and sizes.
function M.certificate(dir, name, key, bits)
  M.run(dir, "req", "-x509", "-newkey", "rsa:" .. (bits or 2048), "-nodes", "-days", "2",
    "-subj", "/CN=" .. (name or "localhost"), "-keyout", key or "key.pem", "-out", "cert.pem")
end

--- cert.pem and key.pem whose time is over.
function M.expired_certificate(dir)
  M.run(dir, "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.csr")
  M.run(dir, "x509", "-req", "-in", "cert.csr", "-signkey", "key.pem", "-days", "-1", "-out", "cert.pem")
end

return M
