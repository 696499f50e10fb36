import java.nio.file.*;
import java.util.*;
import java.util.function.Function;
import org.apache.flink.table.api.*;

/** Has Flink answer every line of types.txt and inserts.txt, over the table of table.sql. README.md says how to run it. */
public class Types {
    private static TableEnvironment env;
    private static int sinks;

    public static void main(String[] args) throws Exception {
        env = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        env.executeSql(Files.readString(Path.of(args[0], "table.sql")));
        answer(Path.of(args[0], "types.txt"), Types::type);
        answer(Path.of(args[0], "inserts.txt"), Types::insert);
    }

    private static void answer(Path file, Function<String, String> flink) throws Exception {
        List<String> answered = new ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            boolean isQuestion = !line.isBlank() && !line.startsWith("#");
            String question = line.split(" => ", 2)[0];
            answered.add(isQuestion ? question + " => " + flink.apply(question) : line);
        }
        Files.write(file, answered);
    }

    private static String type(String expression) {
        try {
            Table table = env.sqlQuery("SELECT " + expression + " FROM t");
            // Some of what validates cannot be translated.
            table.explain(ExplainDetail.JSON_EXECUTION_PLAN);
            return table.getResolvedSchema().getColumnDataTypes().get(0).getLogicalType().asSummaryString();
        } catch (Exception | Error error) {
            return "refused";
        }
    }

    /** A column of the table into a sink's column of some type: `column INTO type`. */
    private static String insert(String question) {
        String[] parts = question.split(" INTO ", 2);
        String sink = "sink" + sinks++;
        env.executeSql("CREATE TABLE " + sink + " (r " + parts[1] + ") WITH ('connector' = 'blackhole')");
        try {
            env.explainSql("INSERT INTO " + sink + " SELECT " + parts[0] + " FROM t", ExplainDetail.JSON_EXECUTION_PLAN);
            return "accepted";
        } catch (Exception | Error error) {
            return "refused";
        }
    }
}
