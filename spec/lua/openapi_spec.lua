-- docs/openapi.json is what the annotations and lua/gwrun/api.lua say, and hangs
-- together.
local cjson = require "cjson"
local process = require "process"
local testbed = require "testbed"

describe("docs/openapi.json", function()
  local text = testbed.read_file "docs/openapi.json"
  local document = cjson.decode(text)

  it("is what `make docs` makes", function()
    local code, out =
      process.run { "lua5.4", "docs/generate_openapi.lua", "lua/meta/gwrun.lua", "lua/gwrun/api.lua" }
    assert.equal(0, code, out)
    assert.equal(text, out)
  end)

  it("has every call, and no other", function()
    local there, documented = { ["/batch"] = true }, {}
    for name in testbed.read_file "lua/gwrun/api.lua":gmatch "\n  (%w+) = { \"%l+\"" do there["/" .. name] = true end
    for path, item in pairs(document.paths) do
      documented[path] = true
      assert.equal(path, "/" .. item.post.operationId)
      assert.is_true(#item.post.description > 0)
    end
    assert.same(there, documented)
  end)

  it("refers to what it has", function()
    local function walk(value)
      if type(value) ~= "table" then return end
      local ref = value["$ref"]
      if ref then
        local at = document
        for name in ref:sub(3):gmatch "[^/]+" do at = assert(at[name], ref) end
      end
      for _, inner in pairs(value) do walk(inner) end
    end
    walk(document)
  end)
end)
