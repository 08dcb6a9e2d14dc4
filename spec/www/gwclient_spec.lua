-- www/gwclient.js with a clock of the spec's (gwclient_test.js).
local process = require "process"

describe("www/gwclient.js", function()
  local code, out = process.run { "node", "spec/www/gwclient_test.js", "www/gwclient.js" }

  it("was tried", function() assert.equal(0, code, out) end)

  for outcome, name in out:gmatch "(%l[%l ]-) %- ([^\n]+)" do
    it(name, function() assert.equal("ok", outcome, name) end)
  end
end)
