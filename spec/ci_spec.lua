-- What the scripts in .ci do to the machine that they run on, and say at the end.
local process = require "process"
local testbed = require "testbed"
local uv = require "luv"

describe(".ci/", function()
  local dir

  -- Below the build, so that a copy of gwrun finds its Lua files.
  before_each(function()
    dir = assert(uv.fs_realpath((assert(uv.fs_mkdtemp((os.getenv "GWRUN_BUILD" or "build") .. "/ci-XXXXXX")))))
  end)

  after_each(function() process.run { "rm", "-rf", dir } end)

  local function run(...)
    local code, out = process.run({ "sh", "-ec", ... }, { seconds = 120 })
    assert.equal(0, code, out)
    return out
  end

  -- Debian's own tools take DPKG_ROOT for the machine. This apt-get does what the
  -- package of nginx does: it enables the service and asks whether it may start it.
  local machine = [[
    export DPKG_ROOT="$0" PATH="$0/bin:$PATH"
    mkdir -p "$0/bin" "$0/usr/sbin" "$0/etc/init.d" "$0/lib/systemd/system"
    cat >"$0/bin/apt-get" <<'EOF'
#!/bin/sh
export DPKG_MAINTSCRIPT_PACKAGE=nginx-common
[ "$1" = install ] || exit 0
printf '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' \
  >"$DPKG_ROOT/lib/systemd/system/nginx.service"
deb-systemd-helper unmask nginx.service >/dev/null
if deb-systemd-helper --quiet was-enabled nginx.service; then
  deb-systemd-helper enable nginx.service >/dev/null
fi
"$DPKG_ROOT/usr/sbin/policy-rc.d" nginx.service start && echo start >>"$DPKG_ROOT/started"
"$DPKG_ROOT/usr/sbin/policy-rc.d" ssh.service restart && echo ssh >>"$DPKG_ROOT/started"
exit 0
EOF
    printf '#!/bin/sh\nexit 0\n' >"$0/bin/update-rc.d"
    chmod +x "$0/bin/"*
  ]]
  local link = "/etc/systemd/system/multi-user.target.wants/nginx.service"

  it("install starts and enables no service that the machine did not have", function()
    run(machine .. ".ci/install packages nginx-light", dir)
    assert.is_nil(uv.fs_lstat(dir .. link))
    assert.is_nil(uv.fs_lstat(dir .. "/usr/sbin/policy-rc.d"))
    assert.equal("ssh\n", testbed.read_file(dir .. "/started"))
  end)

  it("install leaves a service of the machine, and its policy, as they were", function()
    run(machine .. [[
      printf '#!/bin/sh\necho policy "$@" >>"$DPKG_ROOT/started"\n' >"$0/usr/sbin/policy-rc.d"
      chmod +x "$0/usr/sbin/policy-rc.d"
      apt-get install nginx
      rm "$0/started"
      .ci/install packages nginx-light
      test ! -e "$0/usr/sbin/policy-rc.d.kept"
      "$0/usr/sbin/policy-rc.d" again]], dir)
    assert.is_table(uv.fs_lstat(dir .. link))
    assert.equal("policy nginx.service start\nstart\npolicy ssh.service restart\nssh\npolicy again\n",
      testbed.read_file(dir .. "/started"))
  end)

  -- A build with one C unit and gwrun.
  local build = [[
    mkdir -p "$0/spec"
    printf '#!/bin/sh\nprintf "ok 1 - one\\nok 2 - two\\n"\n' >"$0/spec/one_test"
    chmod +x "$0/spec/one_test"
  ]]

  it("test skips what needs npm's packages where they are missing, and says so at the end", function()
    local out = run(build .. [[
      cp "${GWRUN_BUILD:-build}/gwrun" "$0"
      unset CI
      SPEC_NODE_MODULES=/nowhere ONLY=system/chat_spec .ci/test "$0"]], dir)
    assert.matches("\ncould not run:\n +%d+ /nowhere/ws is missing %(npm install in spec/%) "
      .. "%[spec/system/chat_spec.lua%]\n", out)
    assert.matches("\n%d+ passed, 0 failed, %d+ skipped\n$", out)
  end)

  it("test fails when no suite is of that name", function()
    local code, out = process.run({ "sh", "-c", build .. 'ONLY=nowhere .ci/test "$0"', dir }, { seconds = 120 })
    assert.equal(1, code)
    assert.matches("^0 passed, 0 failed, 0 skipped\n$", out)
  end)

  it("test counts a suite that crashes once, and says what it printed", function()
    local code, out = process.run({ "sh", "-c", build .. [[
      printf '#!/bin/sh\necho "ok 1 - one"; echo three >&2; kill -9 $$\n' >"$0/spec/two_test"
      chmod +x "$0/spec/two_test"
      ONLY="$0" .ci/test "$0"
      code=$?
      cat "$0/failures" >&2
      exit $code]], dir }, { seconds = 120 })
    assert.equal(1, code)
    assert.matches("\n3 passed, 1 failed, 0 skipped\n", out)
    assert.matches("FAILED [^\n]*/spec/two_test %(status 137%)\n.*three", out)
  end)

  it("test fails in CI where they are missing", function()
    local code, out = process.run({ "sh", "-c", build .. [[
      cp "${GWRUN_BUILD:-build}/gwrun" "$0"
      CI=true SPEC_NODE_MODULES=/nowhere ONLY=spec/system/chat_spec .ci/test "$0"]], dir }, { seconds = 120 })
    assert.equal(1, code)
    assert.matches("\n%d+ passed, [1-9]%d* failed, 0 skipped\n$", out)
  end)

  it("knows what a test without /etc/hosts and DNS needs: a database of its own", function()
    local code, out = process.run({ "unshare", "-m", "sh", "-ec", [[
      mount --bind /dev/null /etc/hosts
      mount --bind /dev/null /etc/resolv.conf
      exec lua5.4 -e 'package.path = "./spec/support/?.lua;" .. package.path
        local server = require "mariadb".start()
        server:stop()
        print "served"
        io.stdout:flush()
        os.exit(0, false)']] }, { seconds = 300 })
    if out:find "^unshare: " or out:find "permission denied" then return pending "mount namespaces need root" end
    assert.equal(0, code, out)
    assert.matches("served", out)
  end)
end)
