-- docs/api.md is what the annotations say, and all that a script can call is
-- annotated, documented and named in a spec.
local cjson = require "cjson"
local process = require "process"
local testbed = require "testbed"

-- Prints the public functions of a running script: those of the tables that
-- plain Lua does not have.
local walk = [=[
local cjson = require "cjson"
local plain = {}
for name in ([[_G assert collectgarbage coroutine debug dofile error getmetatable io ipairs load
  loadfile math next os package pairs pcall print rawequal rawget rawlen rawset require select
  setmetatable string table tonumber tostring type utf8 warn xpcall Events]]):gmatch "%S+" do
  plain[name] = true
end

local function list(found, path, t, depth)
  for name, value in pairs(t) do
    if type(name) == "string" and not name:find "^_" then
      if type(value) == "function" then found[#found + 1] = path .. name end
      if type(value) == "table" and depth < 2 then list(found, path .. name .. ".", value, depth + 1) end
    end
  end
end

Events = {}
function Events.onMessage() end
function Events.onWorkerStart()
  local found = {}
  for name, value in pairs(_G) do
    if not plain[name] and type(value) == "table" then list(found, name .. ".", value, 1) end
  end
  table.sort(found)
  Log.notice("functions " .. cjson.encode(found) .. " end")
end
]=]

describe("docs/api.md", function()
  local meta = testbed.read_file "lua/meta/gwrun.lua"
  local page = testbed.read_file "docs/api.md"

  it("is what make docs makes", function()
    local code, made = process.run { "lua5.4", "docs/generate_api.lua", "lua/meta/gwrun.lua" }
    assert.equal(0, code, made)
    assert(made == page, "docs/api.md is stale: run make docs")
  end)

  it("has all that a running script can call, and specs name it", function()
    local app = testbed.start { script = walk }
    app:wait_log " end"
    local functions = cjson.decode((app:log():match "functions (%b[]) end"))
    app:stop()
    assert(#functions > 50, "too few functions: " .. #functions)
    local _, specs = process.run { "sh", "-c",
      "cat $(find spec -name '*_spec.lua' -o -name '*_test.c' | grep -v -e node_modules -e /api_spec)" }
    local missing = {}
    for _, name in ipairs(functions) do
      local last = name:match "[%w_]+$"
      if not meta:find("function " .. name .. "(", 1, true)
        and not meta:find("@field " .. last .. " fun", 1, true) then
        missing[#missing + 1] = name .. ": not in lua/meta/gwrun.lua"
      end
      if not page:find("### " .. name .. "\n", 1, true) and not page:find("`" .. last .. "`", 1, true) then
        missing[#missing + 1] = name .. ": not in docs/api.md"
      end
      if not specs:find("%f[%w_]" .. last .. "%f[^%w_]") then
        missing[#missing + 1] = name .. ": in no spec"
      end
    end
    assert.same({}, missing)
  end)
end)
