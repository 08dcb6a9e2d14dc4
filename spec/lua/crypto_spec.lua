-- gwrun.crypto, gwrun.jwt and gwrun.json in a real worker.
-- luacheck: no max line length
local cjson = require "cjson"
local openssl = require "openssl"
local process = require "process"
local scripting = require "scripting"
local testbed = require "testbed"
local uv = require "luv"

describe("in a script", function()
  local bed, dir

  setup(function()
    dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-keys-XXXXXX"))
    bed = scripting.start {
      prefix = "crypto, json, jwt = require 'gwrun.crypto', require 'gwrun.json', require 'gwrun.jwt'\n"
        .. "function read(path) local f = assert(io.open(path)) local t = f:read 'a' f:close() return t end\n",
    }
  end)

  teardown(function()
    if bed then bed:stop() end
    process.run { "rm", "-rf", dir }
  end)

  describe("gwrun.crypto", function()
    it("makes digests and codes (vectors of FIPS 180, RFC 4231, RFC 4648)", function()
      assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", bed:run "return crypto.sha256 'abc'")
      assert.equal("a9993e364706816aba3e25717850c26c9cd0d89d", bed:run "return crypto.sha1 'abc'")
      assert.equal("900150983cd24fb0d6963f7d28e17f72", bed:run "return crypto.md5 'abc'")
      assert.equal(64, bed:run "return #crypto.sha512('', true)")
      assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        bed:run "return crypto.hmac('sha256', 'Jefe', 'what do ya want for nothing?')")
      for text, code in pairs { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=", foobar = "Zm9vYmFy" } do
        assert.equal(code, bed:run("return crypto.base64Encode %q", text))
        assert.equal(text, bed:run("return crypto.base64Decode %q", code))
      end
      assert.equal("-_8", bed:run "return crypto.base64UrlEncode '\\xfb\\xff'")
      assert.is_true(bed:run "return crypto.base64UrlDecode '-_8' == '\\xfb\\xff'")
    end)

    it("refuses what is not base64", function()
      for _, text in ipairs { "Z", "Zg=", "Zg", "Zg===", "Z===", "====", "Zh==", "Zm9v!", "Z g=", "Zm9v\\n", "-_8=", "Zg==Zg==", "Z\\0==" } do
        assert.equal(cjson.null, bed:run(('return crypto.base64Decode "%s"'):format(text)), text)
      end
      assert.equal(cjson.null, bed:run "return crypto.base64UrlDecode 'Zg=='")
    end)

    it("compares, and gives random bytes", function()
      assert.same({ true, false, false, true }, { bed:run "return crypto.equal('a', 'a'), crypto.equal('a', 'b'), crypto.equal('a', 'ab'), crypto.equal('', '')" })
      assert.is_true(bed:run "return #crypto.randomBytes(16) == 16 and crypto.randomBytes(16) ~= crypto.randomBytes(16)")
      assert.equal(43, bed:run "return #crypto.randomToken()")
      assert.error_matches(function() bed:run "crypto.randomBytes(-1)" end, "bytes expected")
      assert.error_matches(function() bed:run "crypto.hmac('nope', 'k', 'd')" end, "no digest 'nope'")
    end)
  end)

  describe("passwords", function()
    it("match their own hash only", function()
      assert.same({ true, false, false }, { bed:run [[
        hash = assert(crypto.hashPassword 'correct horse')
        return crypto.verifyPassword('correct horse', hash), crypto.verifyPassword('correct horsf', hash),
          crypto.verifyPassword('', hash)
      ]] })
      assert.is_true(bed:run "return hash ~= crypto.hashPassword 'correct horse'")
      assert.is_truthy(bed:run("return hash"):find "^%$scrypt%$ln=14,r=8,p=5%$[%w+/]+%$[%w+/]+$")
      assert.same({ true, false }, { bed:run [[
        local hash = crypto.hashPassword 'a\0b'
        return crypto.verifyPassword('a\0b', hash), crypto.verifyPassword('a\0c', hash)
      ]] })
    end)

    it("match the hashes of others (scrypt of Python's hashlib)", function()
      local hash = "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI"
      assert.is_true(bed:run("return crypto.verifyPassword('pleaseletmein', %q)", hash))
      assert.is_false(bed:run("return crypto.verifyPassword('pleaseletmeout', %q)", hash))
    end)

    it("say what is wrong with a hash or a password", function()
      local function code(text, ...) return select(3, bed:run("return " .. text, ...)) end
      for _, hash in ipairs {
        "", "plain", "$2y$10$abcdefghijklmnopqrstuv", "$scrypt$ln=14,r=8,p=1$a$YWJj", "$scrypt$ln=14,r=8,p=1$YWJj$", "$scrypt$ln=14$YWJj$YWJj",
      } do
        assert.equal("malformed", code("crypto.verifyPassword('x', %q)", hash), hash)
      end
      for _, costs in ipairs { "ln=0,r=8,p=1", "ln=21,r=1,p=1", "ln=63,r=8,p=1", "ln=99,r=8,p=1", "ln=16,r=8,p=1", "ln=14,r=0,p=1", "ln=14,r=8,p=0" } do
        assert.equal("einval", code("crypto.verifyPassword('x', %q)", "$scrypt$" .. costs .. "$YWJj$YWJj"), costs)
      end
      assert.equal("einval", code("crypto.verifyPassword('x', %q)", "$scrypt$ln=14,r=8,p=1$" .. ("YWJj"):rep(22) .. "$YWJj"))
      assert.equal("emsgsize", code "crypto.hashPassword(('x'):rep(1025))")
      assert.error_matches(function() bed:run "crypto.hashPassword(nil)" end, "string expected, got nil")
    end)

    it("hold up nobody else while they are hashed", function()
      local slow = bed:begin "begun = true for _ = 1, 4 do crypto.hashPassword 'x' end ended = true return ended"
      assert.is_true(bed:run "repeat Timer.sleep(0.001) until begun return not ended")
      assert.is_true(slow())
    end)

    it("wait for their turn, 100 of them at most", function()
      assert.same({ 102, "enobufs" }, { bed:run [[
        local cheap = '$scrypt$ln=1,r=1,p=1$YWJj$YWJj'
        local list, good, code = {}, 0, nil
        for i = 1, 103 do
          list[i] = function() return crypto.verifyPassword('x', cheap) end
        end
        for _, result in ipairs(gwrun.settle(table.unpack(list))) do
          if result[2] == false then good = good + 1 else code = result[4] end
        end
        return good, code
      ]] })
    end)
  end)

  describe("gwrun.jwt", function()
    local secret = ("s"):rep(32)

    it("signs and verifies with a secret", function()
      assert.same({ "u1", 3 }, { bed:run(([[
        local token = jwt.sign({ sub = "u1", exp = os.time() + 60, aud = { "a", "b" }, iss = "me" }, %q)
        local claims = assert(jwt.verify(token, %q, { issuer = "me", audience = "b", algorithms = { "HS256" } }))
        return claims.sub, select(2, token:gsub("[^.]+", ""))
      ]]):format(secret, secret)) })
    end)

    it("verifies the example of RFC 7515", function()
      local token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
      local key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
      assert.equal("expired", select(3, bed:run("return jwt.verify(%q, crypto.base64UrlDecode %q)", token, key)))
      assert.equal("joe", bed:run("return jwt.verify(%q, crypto.base64UrlDecode %q, { leeway = 1e10 }).iss", token, key))
    end)

    it("refuses what is forged, late, early or meant for others", function()
      for code, text in pairs {
        signature = "jwt.verify(jwt.sign({ a = 1 }, s) .. 'x', s)",
        expired = "jwt.verify(jwt.sign({ exp = os.time() - 1 }, s), s)",
        early = "jwt.verify(jwt.sign({ nbf = os.time() + 60 }, s), s)",
        issuer = "jwt.verify(jwt.sign({ iss = 'you' }, s), s, { issuer = 'me' })",
        audience = "jwt.verify(jwt.sign({}, s), s, { audience = 'me' })",
        malformed = "jwt.verify('a.b', s)",
        algorithm = "jwt.verify(crypto.base64UrlEncode '{\"alg\":\"none\"}' .. '.e30.e30', s)",
      } do
        assert.equal(code, select(3, bed:run("s = %q return " .. text:gsub("%%", "%%%%"), secret)), text)
      end
      assert.equal("signature", select(3, bed:run("return jwt.verify(jwt.sign({}, %q), %q)", secret, ("t"):rep(32))))
      assert.equal("algorithm", select(3, bed:run("return jwt.verify(jwt.sign({}, %q), %q, { algorithms = { 'HS512' } })", secret, secret)))
      assert.equal("malformed", select(3, bed:run("return jwt.verify(jwt.sign({ exp = 'soon' }, %q), %q)", secret, secret)))
    end)

    it("raises for a weak secret and unknown options", function()
      assert.error_matches(function() bed:run "jwt.sign({}, 'short')" end, "spec:1: jwt: the secret must have at least 32 bytes")
      assert.error_matches(function() bed:run "jwt.verify('a.b.c', 'k', { isuer = 'x' })" end, "unknown option 'isuer'")
    end)

    -- A token signed by the openssl command.
    local function sign(alg, key)
      local function encode(text) return (bed:run("return crypto.base64UrlEncode(crypto.base64Decode %q)", text)) end
      local function b64(text) return openssl.run(dir, "base64", "-A", "-in", text) end
      testbed.write_file(dir .. "/head", '{"alg":"' .. alg .. '"}')
      testbed.write_file(dir .. "/body", '{"sub":"u2"}')
      local signed = encode(b64 "head") .. "." .. encode(b64 "body")
      testbed.write_file(dir .. "/signed", signed)
      openssl.run(dir, "dgst", "-sha256", "-sign", key, "-out", "sig", "signed")
      if alg == "ES256" then -- DER to r and s
        local out = openssl.run(dir, "asn1parse", "-inform", "DER", "-in", "sig")
        local raw = ""
        for n in out:gmatch "INTEGER%s+:(%x+)" do raw = raw .. ("0"):rep(64 - #n) .. n end
        testbed.write_file(dir .. "/sig", (raw:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end)))
      end
      return signed .. "." .. encode(b64 "sig")
    end

    it("verifies RS256 and ES256 with public keys, and mixes nothing up", function()
      openssl.run(dir, "genrsa", "-out", "rsa.key", "2048")
      openssl.run(dir, "rsa", "-in", "rsa.key", "-pubout", "-out", "rsa.pub")
      openssl.run(dir, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ec.key")
      openssl.run(dir, "ec", "-in", "ec.key", "-pubout", "-out", "ec.pub")
      openssl.run(dir, "genrsa", "-out", "weak.key", "1024")
      openssl.run(dir, "rsa", "-in", "weak.key", "-pubout", "-out", "weak.pub")
      local rs, es = sign("RS256", "rsa.key"), sign("ES256", "ec.key")
      local weak = sign("RS256", "weak.key")
      local function code(token, key) return select(3, bed:run("return jwt.verify(%q, read '%s/%s')", token, dir, key)) end
      assert.equal("u2", bed:run("return jwt.verify(%q, read '%s/rsa.pub').sub", rs, dir))
      assert.equal("u2", bed:run("return jwt.verify(%q, read '%s/ec.pub').sub", es, dir))
      assert.equal("algorithm", code(rs, "ec.pub"))
      assert.equal("algorithm", code(es, "rsa.pub"))
      assert.equal("algorithm", code(weak, "weak.pub"))
      assert.equal("signature", code(rs:gsub("%..*%.", ".e30."), "rsa.pub"))
      -- the public key used as the secret of HS256
      assert.equal("algorithm", select(3, bed:run([[
        local pem = read '%s/rsa.pub'
        local signed = crypto.base64UrlEncode '{"alg":"HS256"}' .. ".e30"
        return jwt.verify(signed .. "." .. crypto.base64UrlEncode(crypto.hmac("sha256", pem, signed, true)), pem)
      ]], dir)))
      assert.equal("algorithm", select(3, bed:run("return jwt.verify(%q, '-----BEGIN PUBLIC KEY-----')", rs)))
    end)
  end)

  describe("gwrun.json", function()
    it("keeps integers, floats, nulls and empty arrays", function()
      local function round(text) return bed:run("return json.encode(json.decode %q)", text) end
      for _, text in ipairs {
        "1", "-9223372036854775808", "9223372036854775807", "0.1", "1.0E+300", "null", "true", "false", '""', "[]", "{}",
        "[1,[],{}]", '{"a":[null,false]}', '"\\"\\\\\\b\\f\\n\\r\\t\\u0001"', '"ä€😀"', "[[[[[]]]]]", "0.30000000000000004",
      } do
        assert.equal(text, round(text))
      end
      assert.equal('[7,1700000000123456,-7,1000000000000000,0.1,-0]',
        bed:run "return json.encode { 7.0, 1700000000123456.0, -7.0, 1e15, 0.1, -0.0 }")
      assert.equal('{"id":1700000000123456,"uid":1001}',
        bed:run [[
          local d = require("cjson").decode '{"uid":1001,"id":1700000000123456}'
          return (json.encode { id = d.id }):sub(1, -2) .. "," .. json.encode({ uid = d.uid }):sub(2)]])
      assert.equal("1001", bed:run [[
        local secret = ("s"):rep(32)
        local token = jwt.sign({ sub = 1001.0 }, secret)
        return crypto.base64UrlDecode(token:match "%.([^.]+)%."):match '"sub":([^,}]+)']])
      assert.is_true(bed:run "return crypto.sha256(1001.0) == crypto.sha256('1001')")
      assert.equal('"ä😀/\xef\xbf\xbd"', round '"\\u00e4\\ud83d\\ude00\\/\\ud800"')
      assert.equal("[1,2]", round " [ 1 ,\t2 ] ")
      assert.equal("float", bed:run "return math.type(json.decode '12345678901234567890')")
      assert.is_true(bed:run "return json.null == require('cjson').null and json.decode 'null' == json.null")
    end)

    it("writes arrays, objects and gaps", function()
      assert.equal("[1,2]", bed:run "return json.encode { 1, 2 }")
      assert.equal("[]", bed:run "return json.encode(json.array())")
      assert.equal('{"a":[]}', bed:run "return json.encode { a = json.array {} }")
      assert.equal('{"3":1}', bed:run "return json.encode { [3] = 1 }")
      local packed = bed:run "return json.encode(table.pack(1, nil, 3))" -- a gap, and n
      assert.same({ ["1"] = 1, ["3"] = 3, n = 3 }, cjson.decode(packed), packed)
      local function changed(text, key, value)
        return bed:run(("local t = json.decode '%s' t[%s] = %s return json.encode(t)"):format(text, key, value))
      end
      assert.equal('{"a":1}', changed("[]", "'a'", 1))
      assert.equal("[null,null,3]", changed("[]", 3, 3))
      assert.equal('{"5000":2}', changed("[]", 5000, 2))
      assert.equal('{"-1":2}', changed("[]", -1, 2))
      assert.same({ ["1"] = 1, x = 2 }, cjson.decode(changed("[1]", "'x'", 2)))
      assert.equal("[1,null,3]", bed:run "return json.encode(json.array { 1, nil, 3 })")
      assert.equal("[null,1]", bed:run "return json.encode(json.array { json.null, 1 })")
      assert.equal('"\xef\xbf\xbd"', bed:run "return json.encode '\\xff'")
    end)

    it("raises for what JSON cannot hold", function()
      for text, message in pairs {
        ["{ print }"] = "a function cannot be written", ["0/0"] = "cannot be written", ["{ [{}] = 1 }"] = "a key that is a table",
        ["t"] = "contains itself", ["{ [1.5] = 1 }"] = "a key that is a number",
      } do
        assert.error_matches(function() bed:run("t = {} t.t = t return json.encode(" .. text .. ")") end, message)
      end
    end)

    it("does not write more than 64 MiB, however the bytes come together", function()
      for _, value in ipairs { "list", "{ [word .. word .. 'a'] = list }", "word:rep(70)" } do
        assert.same({ false, "json: more than 67108864 bytes" }, { bed:run(([[
          local word, list = ("x"):rep(1000000), {}
          for i = 1, 70 do list[i] = word end
          local ok, message = pcall(json.encode, %s)
          return ok, #message < 100 and message
        ]]):format(value)) })
      end
    end)

    it("names the place of an error", function()
      for text, message in pairs {
        [""] = "value expected at byte 1", ["[1,]"] = "value expected at byte 4", ["[1"] = "',' or ']' expected at byte 3",
        ['{"a" 1}'] = "':' expected at byte 6", ["{1:2}"] = "a key in quotes expected at byte 2", ["01"] = "value expected at byte 1",
        ["1 2"] = "more than one value at byte 3", ['"a'] = "a string has no end at byte 3", ["1."] = "a number has no digits at byte 1",
        ["1e400"] = "a number is too large at byte 1", ["nul"] = "value expected at byte 1", ['"\\x"'] = "unknown escape at byte 3",
        ['"\\u12"'] = "four hexadecimal digits expected at byte 4",
        [("["):rep(200)] = "too many values in each other at byte 129", ["NaN"] = "value expected at byte 1", ["-"] = "value expected at byte 1",
      } do
        local none, err, code = bed:run("return json.decode %q", text)
        assert.same({ cjson.null, "json: " .. message, "eproto" }, { none, err, code })
      end
    end)
  end)
end)
