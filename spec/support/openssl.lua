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

--- NAME.pem and NAME.key, with these names and days, signed by an authority.
function M.signed(dir, name, alt, days, ca)
  M.run(dir, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", name .. ".key", "-out", name .. ".csr",
    "-subj", "/CN=" .. name)
  local file = assert(io.open(dir .. "/ext", "w"))
  file:write("subjectAltName=", alt, "\n")
  file:close()
  M.run(dir, "x509", "-req", "-in", name .. ".csr", "-CA", ca .. ".pem", "-CAkey", ca .. ".key",
    "-CAcreateserial", "-out", name .. ".pem", "-extfile", "ext", "-days", days)
end

--- NAME.pem and NAME.key that may sign others.
function M.authority(dir, name)
  M.run(dir, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", name .. ".key",
    "-out", name .. ".pem", "-subj", "/CN=" .. name, "-days", "2")
end

--- What a server may show, each a .pem and a .key: good, of this machine and signed by ca;
--- other, of another host; old, whose time is over; foreign, signed by a stranger.
function M.certificates(dir)
  M.authority(dir, "ca")
  M.authority(dir, "stranger")
  M.signed(dir, "good", "DNS:localhost,IP:127.0.0.1", "2", "ca")
  M.signed(dir, "other", "DNS:example.com", "2", "ca")
  M.signed(dir, "old", "DNS:localhost,IP:127.0.0.1", "-1", "ca")
  M.signed(dir, "foreign", "DNS:localhost,IP:127.0.0.1", "2", "stranger")
end

return M
