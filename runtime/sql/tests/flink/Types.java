import java.nio.file.*;
import org.apache.flink.table.api.*;

/** Prints each expression of types.txt, over the table of table.sql, with the type that Flink gives it. README.md says how to run it. */
public class Types {
    public static void main(String[] args) throws Exception {
        TableEnvironment env = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        env.executeSql(Files.readString(Path.of(args[0], "table.sql")));
        for (String line : Files.readAllLines(Path.of(args[0], "types.txt"))) {
            boolean isProbe = !line.isBlank() && !line.startsWith("#");
            String expression = line.split(" => ", 2)[0];
            System.out.println(isProbe ? expression + " => " + type(env, expression) : line);
        }
    }

    private static String type(TableEnvironment env, String expression) {
        try {
            Table table = env.sqlQuery("SELECT " + expression + " FROM t");
            // Some of what validates cannot be translated.
            table.explain(ExplainDetail.JSON_EXECUTION_PLAN);
            return table.getResolvedSchema().getColumnDataTypes().get(0).getLogicalType().asSummaryString();
        } catch (Exception | Error error) {
            return "refused";
        }
    }
}
