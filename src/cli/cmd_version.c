/* gwrun version: what this program is and what it was built with. */
#include <lua.h>
#include <uv.h>

#include "cli/cli.h"

static const char help[] =
    "usage: gwrun version\n\nPrint the version of gwrun and of its libraries.\n";

int cmd_version(int argc, char **argv)
{
    struct cli_options o;
    int status = cli_parse(&o, argc, argv, "c", 0, help);

    if (status >= 0)
        return status;
    printf("gwrun %s (libuv %s, %s)\n", GWRUN_VERSION, uv_version_string(),
        LUA_RELEASE);
    return CLI_DONE;
}
