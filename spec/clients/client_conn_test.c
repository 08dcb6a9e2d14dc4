/* The states of a connection: the table, and lives that walk along it. */
#include "port_fixture.h"

#include "clients/client_conn_impl.h"

#define TABLE "src/clients/client_conn.c" /* whose opening comment has it */

static const char *const names[CLIENT_CONN_STATES] = {
    "TLS",
    "REQUEST",
    "ASKING",
    "CALLING",
    "ANSWERING",
    "OPEN",
    "CLOSE_SENT",
    "LAST",
    "DOOMED",
    "LINGER",
    "DEAD",
};

static enum client_conn_state find_state(const char *name, size_t len)
{
    for (unsigned i = 0; i < CLIENT_CONN_STATES; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return (enum client_conn_state)i;
    fail_msg(TABLE " has no state %.*s", (int)len, name);
    return CLIENT_CONN_DEAD;
}

/* Read " *   FROM -> TO  why" and " *          TO  why" up to the comment's
 * end.
 */
static void read_table(bool told[CLIENT_CONN_STATES][CLIENT_CONN_STATES])
{
    enum client_conn_state from = CLIENT_CONN_DEAD;
    FILE *file = fopen(TABLE, "r");
    char line[256];

    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL && line[0] != '\n') {
        char *name = line + 2 + strspn(line + 2, " ");
        size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
        char *arrow = strstr(line, " -> ");

        if (strncmp(line, " *   ", 5) != 0 || len < 3)
            continue;
        if (arrow != NULL) {
            from = find_state(name, len);
            name = arrow + 4;
            len = strcspn(name, " \n");
        }
        told[from][find_state(name, len)] = true;
    }
    fclose(file);
    for (unsigned i = 0; i < CLIENT_CONN_DEAD; i++)
        told[i][CLIENT_CONN_DEAD] = true;
}

static void the_table_is_the_one_that_is_told(void **state)
{
    bool told[CLIENT_CONN_STATES][CLIENT_CONN_STATES] = {{false}};

    read_table(told);
    for (unsigned from = 0; from < CLIENT_CONN_STATES; from++)
        for (unsigned to = 0; to < CLIENT_CONN_STATES; to++)
            if (told[from][to] !=
                client_conn_may_become(
                    (enum client_conn_state)from, (enum client_conn_state)to))
                fail_msg("%s -> %s: %s", names[from], names[to],
                    told[from][to] ? "told only" : "not told");
}

/* Wait until the newest client is there, whatever is passed on the way. */
static void reach(struct test *t, enum client_conn_state state)
{
    UNTIL(t, t->conn != NULL && t->conn->state == state);
}

static void bye(struct test *t)
{
    UNTIL(t, port_counters(t->port)->connections == 0);
    finish(t);
}

static void a_websocket_says_goodbye_and_lingers(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial(t);

    upgrade(t, fd, &in);
    reach(t, CLIENT_CONN_OPEN);
    client_conn_close(t->conn, CLIENT_CONN_KICKED, 1000, NULL);
    assert_int_equal(t->conn->state, CLIENT_CONN_CLOSE_SENT);
    assert_int_equal(
        client_conn_send(t->conn, "x", 1, PROTOCOL_AS_USUAL), -ENOTCONN);
    put_frame(t, fd, 0x88, "\x03\xe8", 2);
    reach(t, CLIENT_CONN_LINGER);
    assert_int_equal(t->closed, 1);
    close(fd);
    buf_fini(&in);
    bye(t);
}

static void a_stream_needs_no_request_and_no_goodbye(void **state)
{
    struct test *t = serve(&proto_text);
    int fd = dial(t);

    reach(t, CLIENT_CONN_OPEN);
    client_conn_pause(t->conn);
    client_conn_close(t->conn, CLIENT_CONN_KICKED, 1000, NULL);
    assert_int_equal(t->conn->state, CLIENT_CONN_LAST);
    assert_int_equal(t->conn->sock.interest, SOCK_NOTHING);
    reach(t, CLIENT_CONN_LINGER);
    close(fd);
    bye(t);
}

static void who_is_destroyed_is_doomed_until_the_turn_ends(void **state)
{
    struct test *t = serve(&proto_text);
    int fd = dial(t);

    reach(t, CLIENT_CONN_OPEN);
    client_conn_destroy(t->conn, CLIENT_CONN_DESTROYED);
    assert_int_equal(t->conn->state, CLIENT_CONN_DOOMED);
    assert_int_equal(t->closed, 0);
    client_conn_close(t->conn, CLIENT_CONN_KICKED, 1000, NULL);
    client_conn_destroy(t->conn, CLIENT_CONN_KICKED);
    assert_int_equal(t->conn->state, CLIENT_CONN_DOOMED);
    UNTIL(t, t->closed == 1);
    assert_true(heard(t, "close 1006 destroyed\n"));
    close(fd);
    bye(t);
}

static bool refuse(struct test *t)
{
    assert_int_equal(t->conn->state, CLIENT_CONN_OPEN);
    t->opened--;
    return false;
}

static void who_is_refused_has_a_last_word(void **state)
{
    struct test *t = serve(&proto_websocket);
    struct buf in = {0};
    int fd = dial(t);

    t->on_open = refuse;
    put_str(t, fd, UPGRADE(""));
    reach(t, CLIENT_CONN_LINGER);
    get_all(t, fd, &in);
    assert_memory_equal(in.data, "HTTP/1.1 503 ", 13);
    close(fd);
    buf_fini(&in);
    bye(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_the_one_that_is_told),
        cmocka_unit_test(a_websocket_says_goodbye_and_lingers),
        cmocka_unit_test(a_stream_needs_no_request_and_no_goodbye),
        cmocka_unit_test(who_is_destroyed_is_doomed_until_the_turn_ends),
        cmocka_unit_test(who_is_refused_has_a_last_word),
    };

    return cmocka_run_group_tests_name(
        "clients.client_conn", tests, NULL, NULL);
}
