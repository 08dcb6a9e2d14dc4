-- The folders of src/ and what each may include, as src/README.md tells it.
local allowed = {
  util = { "util" },
  wire = { "util", "wire" },
  net = { "util", "wire", "net" },
  proc = { "util", "wire", "net", "proc" },
  upstream = { "util", "net", "upstream" },
  engine = { "util", "wire", "net", "upstream", "engine" },
  discovery = { "util", "wire", "net", "proc", "discovery" },
  clients = { "util", "wire", "net", "clients" },
  register = { "util", "wire", "net", "proc", "engine", "register" },
  gateway = { "util", "wire", "net", "proc", "engine", "discovery", "clients", "gateway" },
  worker = { "util", "wire", "net", "proc", "engine", "discovery", "worker" },
  master = { "util", "wire", "net", "proc", "master" },
  admin = { "util", "wire", "net", "proc", "clients", "admin" },
  lualib = { "util", "wire", "net", "proc", "upstream", "discovery", "worker", "lualib" },
  config = { "util", "wire", "net", "proc", "engine", "discovery", "clients", "register", "gateway", "worker", "master", "admin",
    "lualib", "config" },
  role = { "util", "wire", "net", "proc", "discovery", "clients", "register", "gateway", "worker", "master", "admin",
    "lualib", "config", "role" },
  testing = { "util", "wire", "net", "proc", "discovery", "clients", "register", "gateway", "worker", "master", "admin",
    "lualib", "config", "role", "testing" },
  cli = { "util", "wire", "net", "proc", "engine", "discovery", "clients", "register", "gateway", "worker", "master", "admin",
    "lualib", "config", "role", "testing", "cli" },
}

-- Third-party headers and the folders (or single files) that may see them.
local libraries = {
  ["uthash.h"] = { "util" },
  ["jansson.h"] = { "wire" },
  ["uv.h"] = { "net", "proc", "upstream", "engine", "discovery", "clients", "register", "gateway", "worker", "master", "admin",
    "lualib", "config", "role", "testing", "cli" },
  ["libwebsockets.h"] = { "upstream/ws_impl.h", "upstream/wsevents.h", "upstream/wshub.h" },
  ["hiredis/read.h"] = { "upstream/redisvalue.c" },
  ["mysql.h"] = { "upstream/mysqlconn_impl.h" },
  ["errmsg.h"] = { "upstream/mysqlconn.c" },
  ["mysqld_error.h"] = { "upstream/mysqlconn.c" },
  ["curl/curl.h"] = { "upstream/http.c" },
  ["openssl/crypto.h"] = { "util/secret.c", "lualib/lscrypt.c" },
  ["openssl/evp.h"] = { "clients/apikeys.c", "clients/response.c", "lualib/lcrypto.c", "lualib/lscrypt.c" },
  ["openssl/ssl.h"] = { "net/tls.c", "net/trust.c", "clients/certificates.c", "upstream/wsevents.c", "upstream/wshub.c" },
  ["openssl/x509.h"] = { "upstream/wshub.c" },
  ["openssl/x509v3.h"] = { "net/tls.c", "upstream/wsevents.c" },
  ["lua.h"] = { "worker", "lualib", "config", "role", "testing", "cli" },
  ["lauxlib.h"] = { "worker", "lualib", "config", "role", "testing", "cli" },
  ["lualib.h"] = { "worker", "lualib", "config", "role", "testing", "cli" },
  ["lua-cjson.h"] = { "lualib" },
}

local function lines_of(command)
  local list = {}
  local pipe = assert(io.popen(command))
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

local function has(list, value)
  for _, v in ipairs(list) do
    if v == value then return true end
  end
  return false
end

local files = lines_of "find src -name '*.[ch]' | sort"

describe("layering", function()
  it("sees the source", function() assert.is_true(#files > 50) end)

  it("lets a folder include only the folders below it", function()
    local wrong = {}
    for _, file in ipairs(files) do
      local folder = file:match "^src/(%w+)/"
      for line in io.lines(file) do
        local target, name = line:match '^%s*#%s*include%s+"(%w+)/([^"]+)"'
        local bare = not target and line:match '^%s*#%s*include%s+"([^"]+)"'
        if bare then wrong[#wrong + 1] = file .. ": give the folder of " .. bare end
        if target and not has(allowed[folder] or {}, target) then
          wrong[#wrong + 1] = file .. " may not include " .. target .. "/" .. name
        end
        if target and name:match "_impl%.h$" and target ~= folder then
          wrong[#wrong + 1] = file .. " includes the private " .. target .. "/" .. name
        end
      end
    end
    assert.same({}, wrong)
  end)

  -- foo.c, foo.h and foo_impl.h are one: foo.
  it("has no files of a folder that include each other in a circle", function()
    local function unit(path) return (path:gsub("%.[ch]$", ""):gsub("_impl$", "")) end
    local included, path, wrong = {}, {}, {}
    for _, file in ipairs(files) do
      local from = unit(file:gsub("^src/", ""))
      included[from] = included[from] or {}
      for line in io.lines(file) do
        local to = line:match '^%s*#%s*include%s+"([^"]+)"'
        if to and unit(to) ~= from and to:match "^%w+" == from:match "^%w+" then included[from][unit(to)] = true end
      end
    end
    local function visit(name)
      if path[name] == "over" then return end
      for i, before in ipairs(path) do
        if before == name then wrong[#wrong + 1] = table.concat(path, " > ", i) .. " > " .. name end
      end
      if path[name] then return end
      path[name], path[#path + 1] = "on", name
      for other in pairs(included[name] or {}) do visit(other) end
      path[name], path[#path] = "over", nil
    end
    for name in pairs(included) do visit(name) end
    assert.same({}, wrong)
  end)

  it("keeps each library behind its door", function()
    local wrong = {}
    for _, file in ipairs(files) do
      local short = file:gsub("^src/", "")
      for line in io.lines(file) do
        local header = line:match "^%s*#%s*include%s+<([^>]+)>"
        local doors = header and libraries[header]
        if doors and not has(doors, short) and not has(doors, (short:match "^%w+")) then
          wrong[#wrong + 1] = file .. " may not include <" .. header .. ">"
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("asks for the time at one door, so that tests can set the clock", function()
    local wrong = {}
    for _, file in ipairs(files) do
      for line in io.lines(file) do
        local asks = line:find "uv_now%(" or line:find "uv_loop_init%("
        if asks and file ~= "src/net/clock.h" then wrong[#wrong + 1] = file end
      end
    end
    assert.same({}, wrong)
  end)

  it("gives every file a name of its own", function()
    local seen, wrong = {}, {}
    for _, file in ipairs(files) do
      local name = file:match "[^/]+$"
      if seen[name] then wrong[#wrong + 1] = file .. " and " .. seen[name] end
      seen[name] = file
    end
    assert.same({}, wrong)
  end)

  it("keeps files short enough to read", function()
    local wrong = {}
    for _, file in ipairs(files) do
      local n = 0
      for _ in io.lines(file) do n = n + 1 end
      if n > 800 then wrong[#wrong + 1] = file .. " has " .. n .. " lines" end
    end
    assert.same({}, wrong)
  end)

  it("is told by src/README.md file by file", function()
    local text, wrong = table.concat(lines_of "cat src/README.md", "\n"), {}
    for _, file in ipairs(files) do
      local folder, name, kind = file:match "^src/(%w+)/([%w_]+)%.([ch])$"
      local row = text:match("\n| `" .. folder .. "/` [^\n]*") or ""
      local told = kind == "h" -- told by the .c
      for word in row:gmatch "`([%w_]+%*?)`" do
        told = told or word == name or (word:sub(-1) == "*" and name:find(word:sub(1, -2), 1, true) == 1)
      end
      if not told then wrong[#wrong + 1] = file .. " is not in the row of " .. folder .. "/" end
    end
    for path in text:gmatch "`([%w_]+/[%w_/]+%.[%w]+)`" do
      local there = path:find "NAME" or io.open("src/" .. path) or io.open(path)
      if not there then wrong[#wrong + 1] = "src/README.md names " .. path end
    end
    assert.same({}, wrong)
  end)
end)
