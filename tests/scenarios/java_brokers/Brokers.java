import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.io.File;
import java.security.KeyStore;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.SslContext;
import org.apache.activemq.broker.TransportConnector;
import org.apache.activemq.filter.DestinationMapEntry;
import org.apache.activemq.security.AuthenticationUser;
import org.apache.activemq.security.AuthorizationEntry;
import org.apache.activemq.security.AuthorizationPlugin;
import org.apache.activemq.security.DefaultAuthorizationMap;
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
            // Entries add up, so what nobody may read is what no entry is for: "others.queue".
            List<DestinationMapEntry> entries = List.of(entry("*", false), entry("ActiveMQ.>", false), entry(">", true));
            broker.setPlugins(new BrokerPlugin[] {
                new SimpleAuthenticationPlugin(List.of(user)),
                new AuthorizationPlugin(new DefaultAuthorizationMap(entries))
            });
            broker.setSslContext(new SslContext(keysOf(arguments[2]), null, null));
            TransportConnector stomp = broker.addConnector("stomp://127.0.0.1:0");
            TransportConnector encrypted = broker.addConnector("stomp+ssl://127.0.0.1:0");
            broker.start();
            broker.waitUntilStarted();

            System.out.println("ready " + mongoPort + " " + portOf(stomp) + " " + portOf(encrypted));
            while (System.in.read() >= 0) {
            }
        } finally {
            Runtime.getRuntime().halt(0);
        }
    }

    private static AuthorizationEntry entry(String names, boolean topics) throws Exception {
        AuthorizationEntry entry = new AuthorizationEntry();
        if (topics) {
            entry.setTopic(names);
        } else {
            entry.setQueue(names);
        }
        entry.setRead("users");
        entry.setWrite("users");
        entry.setAdmin("users");
        return entry;
    }

    private static int portOf(TransportConnector connector) throws Exception {
        return connector.getConnectUri().getPort();
    }

    private static KeyManager[] keysOf(String path) throws Exception {
        char[] password = "changeit".toCharArray();
        KeyStore store = KeyStore.getInstance(new File(path), password);
        KeyManagerFactory factory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        factory.init(store, password);
        return factory.getKeyManagers();
    }
}
