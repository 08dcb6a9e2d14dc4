-- Runs the Lua blocks of the pages about libraries in a real worker.
local httpserver = require "httpserver"
local redisserver = require "redisserver"
local scripting = require "scripting"
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

  for _, page in ipairs { "redis", "http", "timers", "crypto" } do
    it("docs/" .. page .. ".md run", function()
      local count = 0
      for block in testbed.read_file("docs/" .. page .. ".md"):gmatch "\n```lua\n(.-)\n```" do
        count = count + 1
        block = block:gsub('host = "127%.0%.0%.1"', ("host = %q"):format(redis.path))
        block = block:gsub("https://api%.example%.com", web.url)
        local path = ("%s/%s-%d.lua"):format(bed.app.dir, page, count)
        testbed.write_file(path, "local client_id = ...\n" .. block .. "\nreturn true")
        assert.is_true(bed:run("return assert(loadfile %q)(...)", path), page .. " " .. count)
      end
      assert.is_true(count >= 3)
    end)
  end
end)
