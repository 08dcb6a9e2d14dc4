-- Runs the Lua blocks of the pages about libraries in a real worker.
local cjson = require "cjson"
local httpserver = require "httpserver"
local redisserver = require "redisserver"
local scripting = require "scripting"
local tcp = require "tcp"
local testbed = require "testbed"

describe("the examples of", function()
  local bed, redis, web

  setup(function()
    redis, web = redisserver.start(), httpserver.start()
    bed = scripting.start()
  end)

  teardown(function()
    if bed then bed:stop() end
    redis:stop()
    web:stop()
  end)

  -- Send the text as a client. What examples send may come before the result.
  local function run(client, text)
    local line
    client:send(text .. "\n")
    repeat line = client:receive "\n" until line:sub(1, 1) == "["
    return cjson.decode(line)
  end

  for _, page in ipairs { "redis", "http", "timers", "crypto", "api" } do
    it("docs/" .. page .. ".md run", function()
      local writer, other = tcp.connect(bed.app.port[1]), tcp.connect(bed.app.port[1])
      local client_id = run(other, "return ...")[2]
      local text, count = testbed.read_file("docs/" .. page .. ".md"), 0
      -- behind a heading there is how a function is called, not an example
      text = text:gsub("\n### [^\n]+\n\n```lua\n[^\n]+\n```\n", "\n")
      for block in text:gmatch "\n```lua\n(.-)\n```" do
        count = count + 1
        block = block:gsub('host = "127%.0%.0%.1"', ("host = %q"):format(redis.path))
        block = block:gsub("https://api%.example%.com", web.url)
        local path = ("%s/%s-%d.lua"):format(bed.app.dir, page, count)
        testbed.write_file(path, "local client_id = ...\n" .. block .. "\nreturn true")
        local call = ("return assert(loadfile %q)(%q)"):format(path, client_id)
        assert.same({ true, true }, run(writer, call), page .. " " .. count)
      end
      writer:close()
      other:close()
      assert.is_true(count >= 3)
    end)
  end
end)
