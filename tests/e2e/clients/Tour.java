// pgjdbc: statements, batches, cursors, copies, errors with all fields, cancels, metadata; one line for each thing observed.

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.sql.Types;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

public class Tour {
    interface Work {
        void run() throws Exception;
    }

    static void say(Object... facts) {
        System.out.println(Arrays.deepToString(facts));
    }

    static void attempt(String label, Work work) {
        try {
            work.run();
        } catch (PSQLException error) {
            ServerErrorMessage m = error.getServerErrorMessage();
            say(label, "error", error.getSQLState(), m == null ? error.getMessage() : fields(m));
        } catch (SQLException error) {
            say(label, "error", error.getSQLState(), error.getMessage());
        } catch (Exception error) {
            say(label, "error", error.toString());
        }
    }

    static String fields(ServerErrorMessage m) {
        return String.join("|", String.valueOf(m.getSeverity()), m.getSQLState(), m.getMessage(), m.getDetail(), m.getHint(),
            String.valueOf(m.getPosition()), m.getWhere(), m.getSchema(), m.getTable(), m.getColumn(), m.getDatatype(),
            m.getConstraint(), m.getFile(), String.valueOf(m.getLine()), m.getRoutine());
    }

    static void rows(String label, ResultSet found) throws SQLException {
        ResultSetMetaData meta = found.getMetaData();
        for (int column = 1; column <= meta.getColumnCount(); column++) {
            say(label, meta.getColumnLabel(column), meta.getColumnTypeName(column), meta.getTableName(column));
        }
        while (found.next()) {
            Object[] row = new Object[meta.getColumnCount()];
            for (int column = 1; column <= row.length; column++) {
                Object value = found.getObject(column);
                row[column - 1] = value instanceof byte[] ? Arrays.toString((byte[]) value) : String.valueOf(value);
            }
            say(label, row);
        }
    }

    static void warnings(String label, SQLWarning first) {
        for (SQLWarning warning = first; warning != null; warning = warning.getNextWarning()) {
            say(label, "notice", warning.getSQLState(), warning.getMessage());
        }
    }

    static void execute(Connection connection, String text) {
        attempt(text, () -> {
            try (Statement statement = connection.createStatement()) {
                boolean more = statement.execute(text, Statement.NO_GENERATED_KEYS);
                while (more || statement.getUpdateCount() != -1) {
                    if (more) {
                        rows(text, statement.getResultSet());
                    } else {
                        say(text, statement.getUpdateCount());
                    }
                    more = statement.getMoreResults();
                }
                warnings(text, statement.getWarnings());
            }
        });
    }

    static Connection connect(String... more) throws SQLException {
        Map<String, String> environment = System.getenv();
        Properties options = new Properties();
        options.setProperty("user", environment.get("PGUSER"));
        options.setProperty("sslmode", environment.getOrDefault("PGSSLMODE", "prefer"));
        if (environment.containsKey("PGPASSWORD")) {
            options.setProperty("password", environment.get("PGPASSWORD"));
        }
        if (environment.containsKey("PGSSLROOTCERT")) {
            options.setProperty("sslrootcert", environment.get("PGSSLROOTCERT"));
        }
        for (int at = 0; at < more.length; at += 2) {
            options.setProperty(more[at], more[at + 1]);
        }
        return DriverManager.getConnection(
            "jdbc:postgresql://" + environment.get("PGHOST") + ":" + environment.get("PGPORT") + "/" + environment.get("PGDATABASE"),
            options);
    }

    static void statements(Connection connection) {
        for (String text : new String[] {
            "SELECT 1 AS one, 'x' AS two, NULL AS three",
            "CREATE TABLE j (id serial PRIMARY KEY, body text, price numeric(8,2), raw bytea, at timestamptz)",
            "SELECT 1; SELECT 2",
            "SELECT * FROM missing",
            "SELECT 1/0",
            "SELEC 1",
            "SELECT says('noted')",
            "SELECT fails('raised')",
            "SHOW transaction_isolation",
        }) {
            execute(connection, text);
        }
    }

    static void prepared(Connection connection, boolean bytes) throws Exception {
        // From the fifth execution on pgjdbc names the statement, and asks for values in binary.
        try (PreparedStatement insert = connection.prepareStatement(
            "INSERT INTO j (body, price, raw, at) VALUES (?, ?, ?, ?::timestamptz)", Statement.RETURN_GENERATED_KEYS)) {
            for (int number = 0; number < 8; number++) {
                insert.setString(1, "body ☃ " + number);
                insert.setBigDecimal(2, new BigDecimal("1.50").add(new BigDecimal(number)));
                if (bytes) { // which the driver can't write into a text
                    insert.setBytes(3, new byte[] {0, (byte) 255, (byte) number});
                } else {
                    insert.setNull(3, Types.BINARY);
                }
                insert.setString(4, "2024-02-29 12:00:00+00");
                say("insert", insert.executeUpdate());
                rows("keys", insert.getGeneratedKeys());
            }
            for (int number = 0; number < 300; number++) {
                insert.setString(1, "batched " + number);
                insert.setNull(2, Types.NUMERIC);
                insert.setNull(3, Types.BINARY);
                insert.setString(4, "2024-03-01 00:00:00+00");
                insert.addBatch();
            }
            say("batch", insert.executeBatch().length);
        }
        try (PreparedStatement select = connection.prepareStatement("SELECT id, body, price, raw, at FROM j WHERE id = ?")) {
            for (int number = 1; number < 9; number++) {
                select.setInt(1, number);
                rows("select", select.executeQuery());
            }
        }
        attempt("broken batch", () -> {
            try (Statement batch = connection.createStatement()) {
                batch.addBatch("INSERT INTO j (id) VALUES (100000)");
                batch.addBatch("INSERT INTO j (id) VALUES (100000)");
                batch.addBatch("INSERT INTO j (id) VALUES (100001)");
                batch.executeBatch();
            }
        });
        rows("after", connection.createStatement().executeQuery("SELECT count(*), max(id) FROM j"));
    }

    static void transactions(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        try (Statement cursor = connection.createStatement()) {
            cursor.setFetchSize(50);
            ResultSet found = cursor.executeQuery("SELECT id FROM j ORDER BY id");
            int count = 0;
            while (found.next()) {
                count++;
            }
            say("fetched", count);
        }
        var savepoint = connection.setSavepoint("here");
        execute(connection, "SELECT 1/0");
        execute(connection, "SELECT 2");
        connection.rollback(savepoint);
        execute(connection, "SELECT 3");
        execute(connection, "SELECT 1/0");
        attempt("commit", () -> {
            connection.commit();
            say("committed");
        });
        connection.rollback();
        connection.setAutoCommit(true);
    }

    static void copies(Connection connection) throws Exception {
        var copier = connection.unwrap(PGConnection.class).getCopyAPI();
        execute(connection, "CREATE TABLE c (n int, t text)");
        say("copied in", copier.copyIn("COPY c FROM STDIN (FORMAT csv)", new StringReader("1,one\n2,\"two, three\"\n")));
        StringWriter out = new StringWriter();
        say("copied out", copier.copyOut("COPY c TO STDOUT", out), out.toString());
        attempt("bad copy", () -> copier.copyIn("COPY c FROM STDIN (FORMAT csv)", new StringReader("x,y\n")));
    }

    static void cancels(Connection connection) {
        attempt("cancelled", () -> {
            try (Statement slow = connection.createStatement()) {
                Timer timer = new Timer(true);
                timer.schedule(new TimerTask() {
                    public void run() {
                        attempt("cancel", slow::cancel);
                    }
                }, 1000, 1000);
                try {
                    slow.execute("SELECT pg_sleep(60)");
                } finally {
                    timer.cancel();
                }
            }
        });
        execute(connection, "SELECT 4");
    }

    static void metadata(Connection connection) throws Exception {
        var meta = connection.getMetaData();
        say("server", meta.getDatabaseProductVersion());
        ResultSet columns = meta.getColumns(null, "public", "j", null);
        while (columns.next()) {
            say("column", columns.getString("COLUMN_NAME"), columns.getString("TYPE_NAME"), columns.getString("COLUMN_DEF"));
        }
        ResultSet keys = meta.getPrimaryKeys(null, "public", "j");
        while (keys.next()) {
            say("key", keys.getString("COLUMN_NAME"), keys.getString("PK_NAME"));
        }
    }

    public static void main(String[] arguments) throws Exception {
        for (String mode : new String[] {"extended", "simple"}) {
            try (Connection connection = connect("preferQueryMode", mode, "ApplicationName", "tour")) {
                say("mode", mode);
                statements(connection);
                prepared(connection, mode.equals("extended"));
                transactions(connection);
                copies(connection);
                cancels(connection);
                metadata(connection);
                execute(connection, "DROP TABLE j, c");
            }
        }
        attempt("no such role", () -> connect("user", "missing").close());
    }
}
