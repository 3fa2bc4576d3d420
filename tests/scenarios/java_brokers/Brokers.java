import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;
import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.TransportConnector;
import org.apache.activemq.security.AuthenticationUser;
import org.apache.activemq.security.SimpleAuthenticationPlugin;

/** ActiveMQ with STOMP and users, and a server with MongoDB's protocol and change streams, until standard input ends. */
public class Brokers {
    public static void main(String[] arguments) throws Exception {
        try {
            MongoServer mongo = new MongoServer(new MemoryBackend());
            mongo.enableOplog();
            int mongoPort = mongo.bind().getPort();

            BrokerService broker = new BrokerService();
            broker.setBrokerName("tests");
            broker.setPersistent(false);
            broker.setUseJmx(false);
            AuthenticationUser user = new AuthenticationUser(arguments[0], arguments[1], "users");
            broker.setPlugins(new BrokerPlugin[] {new SimpleAuthenticationPlugin(List.of(user))});
            TransportConnector stomp = broker.addConnector("stomp://127.0.0.1:0");
            broker.start();
            broker.waitUntilStarted();

            System.out.println("ready " + mongoPort + " " + stomp.getConnectUri().getPort());
            while (System.in.read() >= 0) {
            }
        } finally {
            Runtime.getRuntime().halt(0);
        }
    }
}
